/** `dimo doctor`: what this machine can run, and what to do about the rest. */
import type { EngineReport } from '@dimo/backend-node';
import { statfs } from 'node:fs/promises';
import { cpus, freemem, totalmem } from 'node:os';
import { exitOk } from '../output/failure.js';
import { loadConfig } from '../config/load.js';
import { loadRegistry } from '../project/plugins.js';
import { colors, print, printError, printJson } from '../output/terminal.js';
import { version } from '../version.js';

/** Arguments of `doctor`. */
export interface DoctorArguments {
  readonly json: boolean;
  /** Measure the matmul rate of each engine for about a second. */
  readonly bench: boolean;
  readonly plugins: readonly string[];
}

/** Prints the table of engines and the facts of the machine. */
export async function doctor(args: DoctorArguments): Promise<number> {
  const { probeEngines } = await import('@dimo/backend-node');
  const { config, projectFolder } = await loadConfig();
  const registry = await loadRegistry([...config.plugins, ...args.plugins], projectFolder, ['engines']);
  const machine = await machineFacts();
  const { green, red, dim, bold } = colors();
  if (!args.json) {
    print(bold(`dimo ${version}, Node ${process.version}, ${process.platform} ${process.arch}`));
    print(`CPU     ${machine.cpu} (${machine.cores} cores)`);
    print(`memory  ${gibibytes(machine.memoryFree)} free of ${gibibytes(machine.memoryTotal)}`);
    print(`disk    ${gibibytes(machine.diskFree)} free here\n`);
    printError(dim('trying every engine ...'));
  }
  const show = (report: EngineReport): void => {
    if (args.json) return;
    const { name, availability, gigaflops } = report;
    if (availability.available) {
      const { device, versions, isSoftware } = availability.info;
      const rate = gigaflops === undefined ? '' : `, ${gigaflops.toFixed(gigaflops < 10 ? 1 : 0)} GFLOP/s`;
      print(`${green('yes')}  ${name.padEnd(11)} ${device}${isSoftware ? ' (emulated)' : ''}${rate}`);
      print(
        `     ${' '.repeat(11)} ${dim(
          Object.entries(versions)
            .map(([key, value]) => `${key} ${value}`)
            .join(', '),
        )}`,
      );
    } else {
      print(`${red('no')}   ${name.padEnd(11)} ${availability.reason}`);
      print(`     ${' '.repeat(11)} ${dim(`to fix: ${availability.fix}`)}`);
    }
  };
  const engines = await probeEngines({
    engines: [...registry.engines.values()],
    seconds: args.bench ? 1 : 0,
    onReport: show,
  });
  if (args.json) printJson({ version, node: process.version, machine, engines }, 2);
  return exitOk;
}

interface MachineFacts {
  readonly cpu: string;
  readonly cores: number;
  /** Bytes. */
  readonly memoryFree: number;
  readonly memoryTotal: number;
  readonly diskFree: number;
}

async function machineFacts(): Promise<MachineFacts> {
  const processors = cpus();
  const disk = await statfs('.').catch(() => undefined);
  return {
    cpu: processors[0]?.model.trim() ?? 'unknown',
    cores: processors.length,
    memoryFree: freemem(),
    memoryTotal: totalmem(),
    diskFree: disk ? disk.bavail * disk.bsize : 0,
  };
}

function gibibytes(bytes: number): string {
  return `${(bytes / 2 ** 30).toFixed(1)} GiB`;
}
