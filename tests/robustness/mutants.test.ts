/** The planted mistakes of scripts/mutants still fit the sources: each text occurs once, each test file is there. */
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

interface Mutant {
  readonly row: string;
  readonly file: string;
  readonly find: string;
  readonly replace: string;
  readonly test: readonly [folder: string, file: string, pattern?: string];
}

const root = fileURLToPath(new URL('../..', import.meta.url));
const mutants = JSON.parse(readFileSync(path.join(root, 'scripts/mutants/list.json'), 'utf8')) as readonly Mutant[];

it('every mistake can be planted, and its test is there', () => {
  expect(mutants.length).toBeGreaterThan(40);
  const problems = mutants.flatMap(({ row, file, find, replace, test: [folder, name] }) => {
    const numFound = readFileSync(path.join(root, file), 'utf8').split(find).length - 1;
    return [
      ...(numFound === 1 ? [] : [`${row}: ${JSON.stringify(find)} occurs ${numFound} times in ${file}`]),
      ...(replace === find ? [`${row}: nothing is changed in ${file}`] : []),
      ...(existsSync(path.join(root, folder, name)) ? [] : [`${row}: no ${folder}/${name}`]),
    ];
  });
  expect(problems).toEqual([]);
});

it('every row of the fault list that one process can show has a mistake', () => {
  const rows = new Set(mutants.map(({ row }) => row));
  const wanted = [
    ...Array.from({ length: 14 }, (_, i) => `A${i + 1}`),
    ...Array.from({ length: 9 }, (_, i) => `B${i + 1}`),
    // C5 is about several ranks, which there are none of.
    ...['C1', 'C2', 'C3', 'C4', 'C6', 'C7', 'C8'],
    ...Array.from({ length: 8 }, (_, i) => `D${i + 1}`),
  ];
  expect(wanted.filter((row) => !rows.has(row))).toEqual([]);
});
