/** Is another process still there? Process numbers are used again, so the time of start is compared where it is known. */
import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { errorCode } from './io-error.js';

/** What identifies a process. */
export interface ProcessIdentity {
  readonly pid: number;
  readonly host: string;
  /** Boot and start time of the process where the system tells them (Linux), else empty. */
  readonly start: string;
}

/** This process. */
export function currentProcess(): ProcessIdentity {
  return { pid: process.pid, host: hostname(), start: processStart(process.pid) };
}

/** Whether a process of this machine runs, possibly under another user. */
export function isProcessAlive(pid: number): boolean {
  if (!Number.isSafeInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return errorCode(error) === 'EPERM';
  }
}

/** False only if it is certain that the process has ended: it was of this machine, and is gone or its number is another's. */
export function mayBeAlive(other: ProcessIdentity): boolean {
  if (other.host !== hostname()) return true;
  if (!isProcessAlive(other.pid)) return false;
  const start = processStart(other.pid);
  return start === '' || other.start === '' || start === other.start;
}

function processStart(pid: number): string {
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // Field 22, counted after the command, which is in parentheses and may hold spaces.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' ? 'ended' : `${boot}/${fields[19] ?? ''}`;
  } catch {
    return '';
  }
}
