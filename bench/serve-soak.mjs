/**
 * Row D5 of robustness: `dimo serve` under hostile requests and many connections. A server of its own process is sent
 * 1,000 hostile requests and 10,000 connections; its memory and the time of a good request are compared with those of
 * before. Prints one JSON object; ratios, since times depend on the machine.
 *
 * With `minutes`, the attack is repeated for so long while a client goes on asking; how many of its requests were answered
 * is printed too.
 *
 *   node bench/serve-soak.mjs [hostile=1000] [connections=10000] [minutes=0]
 */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { options } from './lib/statistics.mjs';

const {
  hostile: numHostile,
  connections: numConnections,
  minutes,
} = options({ hostile: 1000, connections: 10_000, minutes: 0 });
const main = fileURLToPath(new URL('../packages/cli/dist/main.js', import.meta.url));

// Garbage is collected before memory is read: what is left is held.
const collects = `data:text/javascript,process.on('SIGUSR2', () => gc())`;
const server = spawn(process.execPath, ['--expose-gc', '--import', collects, main, 'serve', '--port', '0', '--quiet'], {
  stdio: ['ignore', 'pipe', 'inherit'],
});
const port = await new Promise((resolve, reject) => {
  server.stdout.on('data', (chunk) => {
    const found = /:(\d+)/.exec(String(chunk));
    if (found) resolve(Number(found[1]));
  });
  server.on('exit', (code) => reject(new Error(`the server ended with ${code}`)));
});

/** Resident megabytes of the server. Linux only. */
async function residentMegabytes() {
  server.kill('SIGUSR2');
  await new Promise((resolve) => setTimeout(resolve, 500));
  const status = readFileSync(path.join('/proc', String(server.pid), 'status'), 'utf8');
  return Number(/VmRSS:\s+(\d+)/.exec(status)[1]) / 1024;
}

async function goodRequest() {
  const started = performance.now();
  const response = await fetch(`http://127.0.0.1:${port}/v1/images`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: '{"classes": [3, 7], "seed": 5}',
  });
  if (response.status !== 200) throw new Error(`a good request was answered with ${response.status}`);
  const text = JSON.stringify((await response.json()).images);
  return { milliseconds: performance.now() - started, text };
}

async function medianOfGood(count = 15) {
  const times = [];
  for (let i = 0; i < count; i++) times.push((await goodRequest()).milliseconds);
  return times.sort((a, b) => a - b)[count >> 1];
}

/** Sends bytes and waits for an answer or the end of the connection. */
function send(bytes) {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(bytes));
    const end = () => {
      socket.destroy();
      resolve();
    };
    socket.once('data', end).on('error', end).on('close', end).setTimeout(20_000, end);
  });
}

const host = `Host: 127.0.0.1:${port}\r\n`;
const post = (body, headers = 'Content-Type: application/json\r\n') =>
  `POST /v1/images HTTP/1.1\r\n${host}${headers}Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
const hostile = [
  post(`"${'x'.repeat(2 ** 20)}"`),
  post('['.repeat(500_000)),
  post('{"__proto__": {"count": 64}}'),
  post('{"count": 1e308}'),
  post('{"prompts": ["\\u0000"]}'),
  post('{}', 'Content-Type: text/plain\r\n'),
  post('{}', 'Content-Type: application/json\r\nOrigin: https://evil.example\r\n'),
  `POST /v1/images HTTP/1.1\r\n${host}Content-Type: application/json\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
  `GET /%2e%2e/%2e%2e/package.json HTTP/1.1\r\n${host}\r\n`,
  `GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n`,
  `GET /${'x'.repeat(10_000)} HTTP/1.1\r\n${host}\r\n`,
  `GET / HTTP/1.1\r\n${host}X: ${'x'.repeat(20_000)}\r\n\r\n`,
  `GET /health HTTP/1.1\r\n${host}X-Slow: `,
  Buffer.from('16030100a5010000a10303', 'hex'),
];

async function attack(hostileRequests, connections) {
  for (let from = 0; from < hostileRequests; from += 100)
    await Promise.all(
      Array.from({ length: Math.min(100, hostileRequests - from) }, (_, i) => send(hostile[i % hostile.length])),
    );
  let peak = 0;
  for (let from = 0; from < connections; from += 500) {
    const sockets = Array.from({ length: Math.min(500, connections - from) }, () =>
      connect(port, '127.0.0.1').on('error', () => undefined),
    );
    await new Promise((resolve) => setTimeout(resolve, 50));
    peak = Math.max(peak, await residentMegabytes());
    for (const socket of sockets) socket.destroy();
  }
  return peak;
}

// Warm: pools, caches and compiled code have their final size.
for (let i = 0; i < 60; i++) await goodRequest();
await attack(100, 1000);
const before = {
  milliseconds: await medianOfGood(),
  text: (await goodRequest()).text,
  megabytes: await residentMegabytes(),
};
let peak = 0;
const during = { asked: 0, answered: 0, rounds: 0 };
const end = performance.now() + minutes * 60_000;
let isAttacking = true;
const client = (async () => {
  while (isAttacking) {
    during.asked++;
    during.answered += await goodRequest().then(
      () => 1,
      () => 0,
    );
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
})();
do {
  peak = Math.max(peak, await attack(numHostile, numConnections));
  during.rounds++;
} while (performance.now() < end);
isAttacking = false;
await client;

// Connections close, timers of the slow ones end, garbage goes.
let after;
const deadline = performance.now() + 60_000;
do {
  await new Promise((resolve) => setTimeout(resolve, 2000));
  const milliseconds = await medianOfGood();
  after = { milliseconds, text: (await goodRequest()).text, megabytes: await residentMegabytes() };
} while (after.megabytes > before.megabytes * 1.1 && performance.now() < deadline);
server.kill('SIGTERM');
const code = await new Promise((resolve) => server.on('exit', resolve));

const round = (value) => Math.round(value * 100) / 100;
const result = {
  hostileRequests: numHostile,
  connections: numConnections,
  rounds: during.rounds,
  goodRequestsMeanwhile: { asked: during.asked, answered: during.answered },
  residentMegabytes: { before: round(before.megabytes), peak: round(peak), after: round(after.megabytes) },
  memoryRatio: round(after.megabytes / before.megabytes),
  goodRequestMilliseconds: { before: round(before.milliseconds), after: round(after.milliseconds) },
  timeRatio: round(after.milliseconds / before.milliseconds),
  sameAnswer: after.text === before.text,
  exitCode: code,
};
console.log(JSON.stringify(result, null, 2));
process.exitCode = result.memoryRatio <= 1.1 && result.timeRatio < 2 && result.sameAnswer && code === 0 ? 0 : 1;
