/** JSON from a hub, with a bound on its length. */
import { DimoError, escapeText } from '@dimo/core';
import { request, TransferFailure, withRetries, type RequestBody, type RequestOptions } from './request.js';

const maximumAnswerBytes = 32 * 2 ** 20;

/** An answer. */
export interface JsonAnswer {
  readonly value: unknown;
  /** Next page. */
  readonly next: URL | undefined;
}

/**
 * Asks for JSON, or sends something that is answered with it; as often as needed.
 *
 * @throws DimoError as `request`, and with code `network` if the answer is too long or no JSON.
 */
export async function requestJson(address: URL, options: RequestOptions): Promise<JsonAnswer> {
  return withRetries(options.settings, options.signal, () =>
    request(
      address,
      { ...options, headers: { accept: 'application/json', ...options.headers } },
      async ({ response, place, chunks }) => {
        const parts: Uint8Array[] = [];
        let length = 0;
        for await (const chunk of chunks()) {
          parts.push(chunk);
          length += chunk.length;
          if (length > maximumAnswerBytes)
            throw new DimoError('network', `${place}: the answer is longer than ${maximumAnswerBytes} bytes`);
        }
        try {
          const text = new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(parts));
          return { value: JSON.parse(text) as unknown, next: nextPage(response.headers.get('link'), address, place) };
        } catch (error) {
          if (DimoError.isInstance(error)) throw error;
          throw new TransferFailure(`${place}: the answer is not JSON (${describeType(response)})`, 'wrong');
        }
      },
    ),
  );
}

/** Address of the next page in a Link header; it must be on the same host. */
function nextPage(link: string | null, address: URL, place: string): URL | undefined {
  const target = /<([^<>]*)>\s*;[^,<]*\brel="?next"?/.exec(link ?? '')?.[1];
  if (target === undefined) return undefined;
  const next = URL.canParse(target, address.href) ? new URL(target, address) : undefined;
  if (next?.origin !== address.origin)
    throw new DimoError('network', `${place}: the next page of the list is on another host`, {
      hint: 'check HF_ENDPOINT',
    });
  return next;
}

/** A value as the JSON that is sent. */
export function jsonBody(value: unknown): RequestBody {
  return bytesBody(new TextEncoder().encode(JSON.stringify(value)));
}

/** Bytes that are sent. */
export function bytesBody(bytes: Uint8Array): RequestBody {
  return {
    method: 'POST',
    length: bytes.length,
    async *content() {
      yield await Promise.resolve(bytes);
    },
  };
}

/** The type of an answer in words. */
export function describeType(response: Response): string {
  return escapeText(response.headers.get('content-type') ?? 'of no stated type', 80);
}
