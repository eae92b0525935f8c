/**
 * SHA-256 of bytes as 64 lowercase hexadecimal digits, by the platform's Web Cryptography.
 *
 * @throws TypeError where there is none (a web page that is not served over https).
 */
export async function sha256Hex(bytes: Uint8Array): Promise<string> {
  const plain = bytes.buffer instanceof ArrayBuffer ? (bytes as Uint8Array<ArrayBuffer>) : Uint8Array.from(bytes);
  const digest = new Uint8Array(await globalThis.crypto.subtle.digest('SHA-256', plain));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
