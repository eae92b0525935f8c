/** What `dimo doctor` is told. */
import { describe, expect, it } from 'vitest';
import { nodeBackendPlugin, nodeEngines } from './plugin.js';
import { probeEngines, type EngineReport } from './probe-engines.js';

describe('probeEngines', () => {
  it('reports every engine: device and rate, or reason and fix', async () => {
    const seen: EngineReport[] = [];
    const engines = nodeEngines.filter(({ name }) => name !== 'tensorflow'); // slow to load, and no different
    const reports = await probeEngines({ engines, seconds: 0.05, onReport: (report) => seen.push(report) });
    expect(seen).toEqual(reports);
    expect(reports.map(({ name }) => name)).toEqual([
      'cuda',
      'onnx-cuda',
      'webgpu',
      'onnx-webgpu',
      'onnx',
      'onnx-native',
      'wasm',
      'cpu',
    ]);
    for (const { name, availability, gigaflops } of reports)
      if (availability.available) {
        expect(availability.info.name).toBe(name);
        expect(availability.info.device).not.toBe('');
        expect(gigaflops).toBeGreaterThan(0);
      } else {
        expect(availability.reason).toContain(`${name} engine: `);
        expect(availability.fix).not.toBe('');
        expect(gigaflops).toBeUndefined();
      }
    expect(reports.filter(({ availability }) => availability.available).map(({ name }) => name)).toEqual(
      expect.arrayContaining(['onnx', 'onnx-native', 'wasm', 'cpu']),
    );
  });

  it('measures nothing when told so', async () => {
    const engines = nodeEngines.filter(({ name }) => name === 'cpu');
    const [report] = await probeEngines({ engines, seconds: 0 });
    expect(report?.gigaflops).toBeUndefined();
    expect(report?.availability.available).toBe(true);
  });

  it('survives an engine that throws something odd', async () => {
    const odd = { name: 'odd', probe: () => Promise.reject(new Error('unused')), create: () => Promise.reject('no') };
    const [report] = await probeEngines({ engines: [odd], seconds: 0 });
    expect(report?.availability).toEqual({ available: false, reason: 'no', fix: 'none known: please report this' });
  });
});

describe('nodeBackendPlugin', () => {
  it('provides the nine engines', () => {
    expect(nodeBackendPlugin.engines?.map(({ name }) => name).sort()).toEqual([
      'cpu',
      'cuda',
      'onnx',
      'onnx-cuda',
      'onnx-native',
      'onnx-webgpu',
      'tensorflow',
      'wasm',
      'webgpu',
    ]);
  });
});
