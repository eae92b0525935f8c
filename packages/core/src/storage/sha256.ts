import { DimoError } from '../errors.js';

/**
 * SHA-256 of bytes as 64 lowercase hexadecimal digits, by the platform's Web Cryptography.
 *
 * @throws DimoError with code `backend-unavailable` where there is none: browsers keep it from pages of insecure origins.
 */
export async function sha256Hex(bytes: Uint8Array): Promise<string> {
  const { subtle } = (globalThis.crypto ?? {}) as { readonly subtle?: typeof crypto.subtle };
  if (!subtle)
    throw new DimoError('backend-unavailable', 'SHA-256: browsers offer Web Cryptography to secure pages alone', {
      hint: 'serve the page over https, or from localhost',
    });
  const plain = bytes.buffer instanceof ArrayBuffer ? (bytes as Uint8Array<ArrayBuffer>) : Uint8Array.from(bytes);
  const digest = new Uint8Array(await subtle.digest('SHA-256', plain));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
