/** The JSON body of a request, bounded. */
import type { IncomingMessage } from 'node:http';
import { HttpProblem, type ServeLimits } from './limits.js';

/**
 * Reads and parses the body.
 *
 * @throws HttpProblem 415 for anything but JSON, 413 for too much of it, 400 for what is no JSON.
 */
export async function readJsonBody(
  request: IncomingMessage,
  { bodyBytes }: Pick<ServeLimits, 'bodyBytes'>,
): Promise<unknown> {
  const { headers } = request;
  // Pages of other sites can send forms and plain text without asking first, but not JSON.
  if (!/^application\/json(?:\s*;\s*charset="?utf-8"?)?\s*$/i.test(headers['content-type'] ?? ''))
    throw new HttpProblem(415, 'the body must be JSON', { hint: 'send the header Content-Type: application/json' });
  if ((headers['content-encoding'] ?? 'identity') !== 'identity')
    throw new HttpProblem(415, 'compressed bodies are not taken');
  const tooLong = (): HttpProblem =>
    new HttpProblem(413, `a body may have ${bodyBytes} bytes`, { headers: { connection: 'close' } });
  if (Number(headers['content-length'] ?? 0) > bodyBytes) throw tooLong();
  const parts: Uint8Array[] = [];
  let length = 0;
  // The connection stays, so that the answer can still be sent.
  for await (const part of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Uint8Array>) {
    length += part.length;
    if (length > bodyBytes) throw tooLong();
    parts.push(part);
  }
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(parts))) as unknown;
  } catch {
    throw new HttpProblem(400, 'the body is not JSON in UTF-8');
  }
}
