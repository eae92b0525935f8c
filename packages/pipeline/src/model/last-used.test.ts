import { expect, it } from 'vitest';
import { lastUsed } from './last-used.js';

it('keeps what was used last, gives up the rest, and makes again what failed', async () => {
  const events: string[] = [];
  const make = (name: string) => () => {
    events.push(`make ${name}`);
    return Promise.resolve({ dispose: () => Promise.resolve(void events.push(`dispose ${name}`)) });
  };
  const kept = lastUsed(2);
  for (const name of ['a', 'b', 'a', 'c', 'a', 'b']) await kept.get(name, make(name));
  expect(events).toEqual(['make a', 'make b', 'make c', 'dispose b', 'make b', 'dispose c']);
  await expect(kept.get('d', () => Promise.reject(new Error('no room')))).rejects.toThrow('no room');
  await kept.get('d', make('d'));
  expect(events.at(-1)).not.toBe('dispose d');
  await kept.dispose();
  expect(events.slice(-2).sort()).toEqual(['dispose b', 'dispose d']);
});
