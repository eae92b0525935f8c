/** Where a machine remembers which engine is fastest, and what such an answer depends on. */
import type { EngineMemory } from '@dimo/core';
import { readdirSync } from 'node:fs';
import { arch, cpus, homedir, platform, release } from 'node:os';
import { dirname, join } from 'node:path';
import { versionOf } from './optional-package.js';
import { makeFolders, readFileChecked, writeFileAtomically } from './storage/files.js';

/** Answers kept; older ones go. */
const maximumAnswers = 16;

/** The file in the user's cache folder (`XDG_CACHE_HOME` where it is set). */
export function engineMemoryFile(): string {
  const home = homedir();
  const usual =
    platform() === 'win32'
      ? (process.env['LOCALAPPDATA'] ?? join(home, 'AppData', 'Local'))
      : platform() === 'darwin'
        ? join(home, 'Library', 'Caches')
        : join(home, '.cache');
  return join(process.env['XDG_CACHE_HOME'] || usual, 'dimo', 'engines.json');
}

/** Answers in a JSON file. A damaged file is an empty one. */
export function fileEngineMemory(file = engineMemoryFile()): EngineMemory {
  async function read(): Promise<Record<string, string>> {
    const parsed: unknown = JSON.parse(new TextDecoder().decode(await readFileChecked(file, 2 ** 20)));
    if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) return {};
    return Object.fromEntries(Object.entries(parsed).filter(([, value]) => typeof value === 'string'));
  }
  return {
    get: async (key) => (await read().catch((): Record<string, string> => ({})))[key],
    async set(key, value) {
      const { [key]: _, ...others } = await read().catch((): Record<string, string> => ({}));
      const kept = Object.entries(others).slice(-(maximumAnswers - 1));
      await makeFolders(dirname(file));
      // Whole, or not at all: other processes read it.
      await writeFileAtomically(file, `${JSON.stringify(Object.fromEntries([...kept, [key, value]]), null, 2)}\n`);
    },
  };
}

/** Packages whose versions matter. */
const packages = [
  'onnxruntime-node',
  'koffi',
  'webgpu',
  '@tensorflow/tfjs-core',
  '@tensorflow/tfjs-backend-webgpu',
  '@tensorflow/tfjs-node-gpu',
];

/**
 * What an answer depends on, found without loading an engine: versions, processor, and what can be seen of GPUs and their
 * drivers.
 *
 * @param engines - names of the engines there are.
 */
export function engineMemoryKey(engines: readonly string[], threads: number | undefined): string {
  const processors = cpus();
  return JSON.stringify({
    version: 1,
    system: [platform(), arch(), release(), process.versions.node],
    processor: [processors[0]?.model.trim() ?? '', processors.length, threads ?? process.env['DIMO_THREADS'] ?? 0],
    packages: packages.map((name) => versionOf(name)),
    cuda: [
      process.env['DIMO_TFJS_NODE_GPU'] ?? '',
      process.env['DIMO_ONNXRUNTIME'] ?? '',
      process.env['CUDA_VISIBLE_DEVICES'] ?? '',
    ],
    gpus: ['/dev/dri', '/dev/nvidia0', '/proc/driver/nvidia/gpus', '/usr/share/vulkan/icd.d', '/etc/vulkan/icd.d'].map(
      (folder) => namesIn(folder),
    ),
    engines,
  });
}

function namesIn(folder: string): string {
  try {
    return readdirSync(folder).sort().join(',');
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? 'unreadable';
  }
}
