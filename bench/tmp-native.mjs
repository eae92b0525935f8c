import { startChild } from './lib/child.mjs';
const [caseName, threads, rounds, steps] = process.argv.slice(2);
const kids = ['onnx', 'onnx-native'].map((n) => [n, startChild(process.execPath, ['--conditions=@dimo/source', '--import', './tests/support/source-loader.mjs', 'bench/tmp-native-child.mjs', n, caseName, threads])]);
const res = { onnx: [], 'onnx-native': [] };
for (const [n, k] of kids) { const a = await k.ask({ command: 'steps', count: 1 }); console.log(n, 'first', JSON.stringify(a)); }
for (let r = 0; r < +rounds; r++) for (const [n, k] of kids) { const a = await k.ask({ command: 'steps', count: +steps }); res[n].push(a); }
const med = (v) => v.sort((a, b) => a - b)[v.length >> 1];
for (const n of Object.keys(res)) console.log(caseName, n, 'wall', med(res[n].map((a) => a.wall)).toFixed(1), 'min', Math.min(...res[n].map((a) => a.wall)).toFixed(1), 'cpu', med(res[n].map((a) => a.cpu)).toFixed(1), 'min', Math.min(...res[n].map((a) => a.cpu)).toFixed(1), 'rss', res[n].at(-1).rss.toFixed(0), 'peak', res[n].at(-1).peak.toFixed(0));
for (const [, k] of kids) await k.close();
