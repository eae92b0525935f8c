/**
 * Which WebGPU adapter there is, asked in a process of its own: Dawn writes warnings about emulated adapters to stderr, from
 * native code, and a broken driver may end the process that asks.
 */
import { describeAdapter, type WebgpuAdapterInfo } from '@dimo/kernels/device';
import { execFile } from 'node:child_process';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

/** What is known of the adapter. */
export type ProbedAdapter =
  | { readonly kind: 'adapter'; readonly device: string; readonly isSoftware: boolean }
  | { readonly kind: 'none' }
  /** The package `webgpu` is not there, or the process failed. */
  | { readonly kind: 'unknown' };

/** Milliseconds; loading Dawn and a driver takes a few hundred. */
const patience = 20_000;

/** What Dawn says of limits that it does not need: nothing to do about it, and nothing wrong. */
const harmless = /^Warning: maxDynamic\w+PerPipelineLayout artificially reduced /;

const program = `
const [, address] = process.argv;
const dawn = await import(address);
const adapter = await dawn.create([]).requestAdapter({ powerPreference: 'high-performance' });
const { vendor, architecture, device, description, isFallbackAdapter } = adapter?.info ?? {};
console.log(JSON.stringify(adapter && { vendor, architecture, device, description, isFallbackAdapter }));
`;

let probed: Promise<ProbedAdapter> | undefined;

/** Asks, once per process. What is written to stderr besides the harmless warnings is passed on. */
export function probeAdapter(): Promise<ProbedAdapter> {
  probed ??= probe();
  return probed;
}

async function probe(): Promise<ProbedAdapter> {
  let address: string;
  try {
    address = pathToFileURL(createRequire(import.meta.url).resolve('webgpu')).href;
  } catch {
    return { kind: 'unknown' };
  }
  return new Promise((resolve) => {
    const options = { timeout: patience, env: { ...process.env, NODE_OPTIONS: '' } };
    execFile(process.execPath, ['--input-type=module', '-e', program, address], options, (error, stdout, stderr) => {
      const said = stderr.split('\n').filter((line) => line.trim() !== '' && !harmless.test(line));
      try {
        if (error) throw error;
        const info = JSON.parse(stdout.trim().split('\n').at(-1)!) as WebgpuAdapterInfo | null;
        if (info && said.length > 0) process.stderr.write(`${said.join('\n')}\n`);
        resolve(info ? { kind: 'adapter', ...describeAdapter(info) } : { kind: 'none' });
      } catch {
        resolve({ kind: 'unknown' });
      }
    });
  });
}
