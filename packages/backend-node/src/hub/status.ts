/** What the status of an answer means, in words and in what to do. */
import { DimoError, escapeText, isRecord, OptionError } from '@dimo/core';
import type { HubSettings } from './settings.js';
import { TransferFailure } from './transfer-failure.js';

/** An answer and what was asked. */
export interface Answer {
  readonly response: Response;
  /** Where it came from, for messages. */
  readonly place: string;
  readonly settings: HubSettings;
  /** Something was sent, not asked for. */
  readonly isWrite: boolean;
  /** The hub itself answered, not a store that it names. */
  readonly isHub: boolean;
}

/**
 * Returns if the answer is a good one.
 *
 * @throws TransferFailure for what may go better next time, OptionError for what the user can change, DimoError with code
 *   `network` for everything else.
 */
export async function checkStatus(answer: Answer): Promise<void> {
  const { response, place, isWrite } = answer;
  const { status } = response;
  if (isWrite ? status >= 200 && status < 300 : status === 200 || status === 206 || status === 416) {
    const encoding = response.headers.get('content-encoding') ?? 'identity';
    if (encoding !== 'identity' && encoding !== '')
      throw new TransferFailure(
        `${place}: sent as ${escapeText(encoding, 40)} although plain bytes were asked for`,
        'wrong',
      );
    return;
  }
  const message = `${place}: status ${status}${await reasonOf(answer)}`;
  if (status === 408 || status === 425 || status === 429 || status >= 500)
    throw new TransferFailure(message, 'interrupted', pauseOf(response.headers.get('retry-after')));
  if (status === 407)
    throw new DimoError('network', message, {
      hint: 'the proxy wants a name and password: HTTPS_PROXY=http://user:password@host:port',
    });
  const hint = isWrite ? writeHint(answer) : readHint(answer);
  if (hint !== undefined) throw new OptionError(message, { hint });
  // A signed address of a store may have expired.
  if (isWrite && !answer.isHub) throw new TransferFailure(message, 'wrong');
  throw new DimoError('network', message, { hint: 'check HF_ENDPOINT; this is not what a hub answers' });
}

function readHint({ response: { status }, settings: { token } }: Answer): string | undefined {
  if (status === 401 || status === 403)
    return token === undefined
      ? 'the repository is private, gated or does not exist; set HF_TOKEN to a token that may read it'
      : 'the token may not read this repository, or its terms were not accepted on the web page';
  return status === 404 ? 'check the names of owner, repository and revision' : undefined;
}

/** By status of a hub that was asked to change something. */
const writeHints: Readonly<Record<number, string>> = {
  400: 'the hub refuses what was sent; it says why, often it is the first lines (YAML) of README.md',
  401: 'the token is wrong or has expired: set HF_TOKEN to one that may write, or run `hf auth login`',
  403: 'the token may not write there: it needs the right to write to the repositories of this owner',
  404: 'the repository or branch does not exist, or the token may not see it; --create makes a repository',
  409: 'another change is in the way; look at the repository and run the same command again',
  412: 'somebody else changed the repository meanwhile; look at it and run the same command again',
  413: 'the hub takes no files or accounts of this size; export smaller weights (--float F16) or ask its operator',
  422: 'the hub refuses what was sent; check the names of owner and repository and the first lines (YAML) of README.md',
};

function writeHint({ response: { status }, isHub }: Answer): string | undefined {
  return isHub || status === 413 ? writeHints[status] : undefined;
}

/** What the server says, if it does; a server may repeat what it was sent. */
async function reasonOf({ response, settings: { token }, isWrite, isHub }: Answer): Promise<string> {
  const said = response.headers.get('x-error-message') ?? (isWrite && isHub ? await errorInBody(response) : undefined);
  if (said === undefined || said === '') return '';
  return `: ${escapeText(token === undefined ? said : said.replaceAll(token, '***'), 200)}`;
}

/** The `error` or `message` of an answer in JSON. */
async function errorInBody(response: Response): Promise<string | undefined> {
  if (!(response.headers.get('content-type') ?? '').includes('json')) return undefined;
  try {
    const parts: Uint8Array[] = [];
    let length = 0;
    for await (const chunk of (response.body ?? []) as AsyncIterable<Uint8Array>) {
      parts.push(chunk);
      length += chunk.length;
      if (length > 2 ** 16) break;
    }
    const value: unknown = JSON.parse(Buffer.concat(parts).toString('utf8'));
    const said = isRecord(value) ? (value['error'] ?? value['message']) : undefined;
    return typeof said === 'string' ? said : undefined;
  } catch {
    return undefined;
  }
}

/** Milliseconds of a Retry-After header: seconds or a date. */
function pauseOf(value: string | null): number | undefined {
  if (value === null) return undefined;
  const milliseconds = /^[0-9]{1,9}$/.test(value) ? Number(value) * 1000 : Date.parse(value) - Date.now();
  return Number.isFinite(milliseconds) ? Math.max(0, milliseconds) : undefined;
}
