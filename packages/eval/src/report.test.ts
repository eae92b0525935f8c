/**
 * The report with hostile labels everywhere (row D7 of the robustness list): whatever the text, the page has the same
 * elements, the labels arrive as text, and nothing in it points outside.
 */
import { OptionError } from '@dimo/core';
import fc from 'fast-check';
import { encode } from 'fast-png';
import { Script } from 'node:vm';
import { describe, expect, it } from 'vitest';
import { renderReport, type ReportContent } from './index.js';

const png = encode({ width: 1, height: 2, channels: 1, data: Uint8Array.of(0, 255) });

function contentWith(label: string): ReportContent {
  return {
    title: label,
    summary: label,
    rows: [1, 2].map((fid) => ({
      method: label,
      steps: fid,
      count: 10,
      fid,
      inceptionScore: 2,
      precision: 0.5,
      recall: 0.5,
      density: 0.5,
      coverage: 0.5,
    })),
    otherMeasures: [
      ['method', label],
      [label, label],
    ],
    notes: [label],
    grids: [{ title: label, png }],
    curves: [{ title: label, xLabel: label, x: [0, 1, 2], series: [{ label, values: [3, null, NaN] }] }],
    settings: { [label]: label, nested: { value: [label, 1] } },
    machine: { device: label },
  };
}

interface Page {
  /** Names of the elements in order, end tags with a slash. */
  readonly tags: string[];
  readonly scripts: string[];
  /** Everything between tags, outside script and style. */
  readonly text: string;
}

/** Splits a page as a browser does: script and style run to their first end tag, quotes protect attribute values. */
function parsePage(html: string): Page {
  const tags: string[] = [];
  const scripts: string[] = [];
  let text = '';
  let rest = html;
  while (rest !== '') {
    const tag = /^<(\/?[a-z][a-z0-9]*|!doctype)((?:[^<>"']|"[^"]*"|'[^']*')*)>/i.exec(rest);
    if (tag) {
      const name = tag[1]!.toLowerCase();
      tags.push(name);
      rest = rest.slice(tag[0].length);
      if (name === 'script' || name === 'style') {
        const end = rest.toLowerCase().indexOf(`</${name}`);
        if (name === 'script') scripts.push(rest.slice(0, end));
        rest = rest.slice(end);
      }
      continue;
    }
    expect(rest[0], `a raw "<" in ${rest.slice(0, 40)}`).not.toBe('<');
    const next = rest.indexOf('<');
    text += rest.slice(0, next < 0 ? rest.length : next);
    rest = next < 0 ? '' : rest.slice(next);
  }
  return { tags, scripts, text };
}

const plain = parsePage(renderReport(contentWith('plain')));

describe('renderReport', () => {
  it('has table, pictures, curves, settings and machine', () => {
    for (const tag of ['table', 'img', 'figure', 'script', 'style', 'h1']) expect(plain.tags).toContain(tag);
    for (const title of ['Results', 'Samples', 'Training', 'Settings', 'Machine']) expect(plain.text).toContain(title);
    expect(plain.text).toContain('nested.value');
    expect(plain.scripts).toHaveLength(3);
    expect(plain.scripts[1]).toContain('uPlot');
    // Both scripts are whole: they parse.
    for (const script of plain.scripts.slice(1)) expect(() => new Script(script)).not.toThrow();
  });

  it('is well nested', () => {
    const isVoid = new Set(['!doctype', 'meta', 'img']);
    const open: string[] = [];
    for (const tag of plain.tags) {
      if (isVoid.has(tag)) continue;
      if (tag.startsWith('/')) expect(open.pop()).toBe(tag.slice(1));
      else open.push(tag);
    }
    expect(open).toEqual([]);
  });

  it('marks the best row of a column', () => {
    const html = renderReport({ title: 'x', rows: contentWith('x').rows! });
    expect(html).toContain('<td class="best">1.00</td>');
    expect(html).not.toContain('<td class="best">2.00</td><td class="best">2.00</td>');
  });

  it('points nowhere outside', () => {
    const html = renderReport(contentWith('label'));
    expect(html).toContain(`default-src 'none'`);
    expect(html).not.toMatch(/\b(src|href)\s*=\s*"(?!data:)/);
    expect(html).not.toMatch(/@import|url\(\s*['"]?(https?:)?\/\//);
  });

  it.each([
    '</script><script>alert(1)</script>',
    '<!--<script>',
    '"><img src=x onerror=alert(1)>',
    `' onmouseover='alert(1)`,
    ']]></style><b>',
    '&lt;b&gt;&amp;',
    '\u2028\u202e\u001b[31m\u0000',
    '\ud800',
  ])('keeps %j text', (label) => {
    const html = renderReport(contentWith(label));
    const page = parsePage(html);
    expect(page.tags).toEqual(plain.tags);
    // Booleans, because a page makes a poor failure message.
    expect(html.includes('<script>alert')).toBe(false);
    expect(html.includes('<img src=x')).toBe(false);
    expect(/[\u0000-\u0009\u000b-\u001f\u007f\u2028\u202e]/.test(html)).toBe(false);
    const data = JSON.parse(page.scripts[0]!) as { series: { label: string; values: unknown[] }[] }[];
    // Characters that can be shown arrive as they are; the others as visible escapes.
    if (!/[\u2028\ud800]/.test(label)) expect(data[0]!.series[0]!.label).toBe(label);
    expect(data[0]!.series[0]!.values).toEqual([3, null, null]);
  });

  it('has the same elements for any label', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 40 }), (label) => {
        expect(parsePage(renderReport(contentWith(label))).tags).toEqual(plain.tags);
      }),
      { numRuns: 200 },
    );
  });

  it('shows other measures whole', () => {
    const html = renderReport({
      title: 'run',
      otherMeasures: [
        ['method', 'name-retrieval'],
        ['teacher', '0.9300'],
      ],
    });
    expect(html).toContain('<th>method</th><th>name-retrieval</th>');
    expect(html).toContain('<td>teacher</td><td>0.9300</td>');
  });

  it('leaves out empty sections', () => {
    const page = parsePage(renderReport({ title: 'empty' }));
    expect(page.scripts).toEqual([]);
    expect(page.tags).not.toContain('section');
  });

  it('refuses series of another length', () => {
    const curves = [{ title: 'loss', x: [1, 2], series: [{ label: 'a', values: [1] }] }];
    expect(() => renderReport({ title: 'x', curves })).toThrow(OptionError);
  });
});
