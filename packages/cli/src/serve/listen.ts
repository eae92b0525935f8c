/** Listening at an address, and what to do where that is not possible. */
import { DimoError, escapeText, OptionError } from '@dimo/core';
import { createServer, type Server } from 'node:net';

/** Ports that are tried in search of a free one to name. */
const portsTried = 20;

/** Settles when the server listens. @throws Error of Node */
export function listen(server: Server, port: number, host: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

/** An error of `listen` in words, with what to do about it. */
export async function listenError(error: unknown, port: number, host: string): Promise<DimoError> {
  const code = (error as NodeJS.ErrnoException).code ?? String(error);
  const message = `cannot listen on port ${port} of ${escapeText(host, 100)}: ${escapeText(code)}`;
  return new DimoError('io', message, { hint: await hintFor(code, port, host), cause: error });
}

async function hintFor(code: string, port: number, host: string): Promise<string> {
  switch (code) {
    case 'EADDRINUSE': {
      const free = await freePort(port, host);
      const other = free === undefined ? 'choose another with --port' : `use another: --port ${free}`;
      return `another program uses this port, perhaps a second dimo serve; stop it, or ${other} (0: any free one)`;
    }
    case 'EACCES':
    case 'EPERM':
      return port < 1024 && port > 0
        ? 'ports below 1024 need rights of their own; use a larger one: --port 7860'
        : 'this system does not let this user listen there; choose another with --port';
    case 'EADDRNOTAVAIL':
      return 'this machine does not have the address; name one of its own, or 0.0.0.0 for all of them, with --host';
    case 'EAFNOSUPPORT':
      return 'this machine has no addresses of this kind (IPv6?); use --host 127.0.0.1';
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return 'the name is not known here; name an address of this machine with --host';
    case 'EMFILE':
    case 'ENFILE':
      return 'too many files and connections are open; raise the limit (ulimit -n)';
    default:
      return 'choose another address with --host and --port';
  }
}

/** The next port that is free at this moment. */
async function freePort(taken: number, host: string): Promise<number | undefined> {
  for (let port = taken + 1; port <= Math.min(65_535, taken + portsTried); port++) {
    const probe = createServer();
    const isFree = await listen(probe, port, host).then(
      () => true,
      () => false,
    );
    if (isFree) await new Promise((resolve) => probe.close(resolve));
    if (isFree) return port;
  }
  return undefined;
}

/** A port as it was typed. @throws OptionError */
export function readPort(text: string | undefined): number {
  const port = text === undefined ? 7860 : Number(text);
  if (!/^[0-9]{1,5}$/.test(text ?? '0') || port > 65_535)
    throw new OptionError(`--port must be an integer in [0, 65535], got ${JSON.stringify(text)}`);
  return port;
}
