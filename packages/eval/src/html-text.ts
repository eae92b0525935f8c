/** Text from people and files made safe to stand in a page. */
import { escapeText } from '@dimo/core';

const entities: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/** For element content and quoted attribute values. Control and direction characters become visible escapes. */
export function htmlText(text: string, maxLength = 10_000): string {
  return escapeText(text, maxLength).replace(/[&<>"']/g, (character) => entities[character]!);
}

/**
 * JSON for a `<script type="application/json">` block. No `<`, `>` or `&` is left in it, so no text can end the block
 * or begin a comment; numbers that JSON has no form for become null.
 */
export function htmlJson(value: unknown): string {
  const json = JSON.stringify(value, (_key, item: unknown) => (typeof item === 'string' ? escapeText(item) : item));
  return json.replace(/[<>&\u2028\u2029]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
