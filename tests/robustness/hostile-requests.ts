/** Requests that a server must refuse, as bytes, and a client that sends bytes. */
import { connect } from 'node:net';

/** What came back. */
export interface Answer {
  /** 0 if the connection was closed without one. */
  readonly status: number;
  readonly text: string;
}

/** Sends bytes and gives what comes back until the connection ends or the first answer is complete. */
export function send(bytes: string | Buffer, port: number): Promise<Answer> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(bytes));
    let text = '';
    const finish = (): void => {
      socket.destroy();
      resolve({ status: Number(/^HTTP\/1\.1 ([0-9]{3})/.exec(text)?.[1] ?? 0), text });
    };
    socket.setEncoding('latin1').on('data', (chunk: string) => {
      text += chunk;
      const end = text.indexOf('\r\n\r\n');
      const length = /content-length: ([0-9]+)/i.exec(text)?.[1];
      if (end >= 0 && length !== undefined && text.length - end - 4 >= Number(length)) finish();
      else if (text.endsWith('0\r\n\r\n') && /transfer-encoding: chunked/i.test(text)) finish();
    });
    socket.on('error', finish).on('close', finish);
  });
}

/** A POST with the headers of a good one, unless others are given; undefined leaves one out. */
export function post(
  port: number,
  body: string | Buffer,
  headers: Readonly<Record<string, string | undefined>> = {},
): Buffer {
  const all = {
    Host: `127.0.0.1:${port}`,
    'Content-Type': 'application/json',
    'Content-Length': String(Buffer.byteLength(body)),
    ...headers,
  };
  const lines = Object.entries(all).flatMap(([name, value]) => (value === undefined ? [] : [`${name}: ${value}`]));
  return Buffer.concat([Buffer.from(`POST /v1/images HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`), Buffer.from(body)]);
}

/** A GET. */
export function get(port: number, target: string, headers = `Host: localhost:${port}\r\n`): string {
  return `GET ${target} HTTP/1.1\r\n${headers}\r\n`;
}

/** A request that is answered. */
export const good = JSON.stringify({ classes: [3, '7'], seed: 5 });

/** Hostile requests with the statuses that may answer them; 0 is a closed connection. */
export function hostileRequests(
  port: number,
  folder: string,
): [name: string, bytes: string | Buffer, statuses: number[]][] {
  const json = (value: unknown, statuses = [400]): [string, Buffer, number[]] => {
    const text = JSON.stringify(value);
    return [`body ${text.slice(0, 60)}`, post(port, text), statuses];
  };
  const host = `Host: 127.0.0.1:${port}\r\n`;
  const type = 'Content-Type: application/json\r\n';
  return [
    ['a long body, announced', post(port, '', { 'Content-Length': '2000000' }), [413]],
    ['a long body, sent', post(port, `"${'x'.repeat(2 ** 20)}"`), [413]],
    [
      'a long body in chunks',
      `POST /v1/images HTTP/1.1\r\n${host}${type}Transfer-Encoding: chunked\r\n\r\n${`20000\r\n${'x'.repeat(0x20000)}\r\n`.repeat(9)}`,
      [413],
    ],
    [
      'an endless chunk size',
      `POST /v1/images HTTP/1.1\r\n${host}${type}Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n`,
      [400],
    ],
    ['long headers', get(port, '/health', `${host}X: ${'x'.repeat(20_000)}\r\n`), [431]],
    ['many headers', get(port, '/health', host + 'X-Header: value\r\n'.repeat(5000)), [431]],
    ['a long target', get(port, `/${'x'.repeat(10_000)}`), [400, 404, 414]],
    ['slow headers', `GET /health HTTP/1.1\r\n${host}X-Slow: `, [408]],
    ['a slow body', post(port, '{', { 'Content-Length': '100' }), [408]],
    ['no JSON', post(port, '{"seed": 1,}'), [400]],
    ['bytes that are no text', post(port, Buffer.from([0x22, 0xff, 0xfe, 0x22])), [400]],
    ['an empty body', post(port, ''), [400]],
    ['deep JSON', post(port, '['.repeat(500_000)), [400]],
    ['deep, well-formed JSON', post(port, `{"classes": ${'['.repeat(100_000)}${']'.repeat(100_000)}}`), [400]],
    ['__proto__', post(port, '{"__proto__": {"count": 64}}'), [400]],
    ['constructor', post(port, '{"constructor": {"prototype": {"count": 64}}}'), [400]],
    json([]),
    json(null),
    json('x'),
    json({ count: 65 }),
    json({ count: 0 }),
    json({ count: -1 }),
    json({ count: 1.5 }),
    json({ count: '1' }),
    json({ count: 1e308 }),
    json({ count: [1] }),
    json({ seed: -1 }),
    json({ seed: 2 ** 32 }),
    json({ seed: { valueOf: 1 } }),
    json({ temperature: 0 }),
    json({ temperature: -1 }),
    json({ temperature: '1' }),
    json({ model: '../../etc/passwd' }, [404]),
    json({ model: 3 }),
    json({ model: 'toString' }, [404]),
    json({ classes: 10 }),
    json({ classes: [] }),
    json({ classes: ['ten'] }),
    json({ classes: [10] }),
    json({ classes: [-1] }),
    json({ classes: [3.5] }),
    json({ classes: [{}] }),
    json({ classes: '9-0' }),
    json({ classes: '0-100000000' }),
    json({ classes: 'x'.repeat(5000) }),
    json({ classes: Array.from({ length: 65 }, () => 1) }),
    json({ prompts: 'x' }),
    json({ prompts: [1] }),
    json({ prompts: ['x'.repeat(20_000)] }),
    json({ prompts: ['\u0000'] }),
    json({ prompts: ['3'], classes: ['3'] }),
    ['a lone surrogate', post(port, '{"prompts": ["\\ud800"]}'), [400]],
    json({ cuont: 1 }),
    ['plain text', post(port, good, { 'Content-Type': 'text/plain' }), [415]],
    ['a form', post(port, 'a=b', { 'Content-Type': 'application/x-www-form-urlencoded' }), [415]],
    ['a multipart form', post(port, '--x', { 'Content-Type': 'multipart/form-data; boundary=x' }), [415]],
    ['no content type', post(port, good, { 'Content-Type': undefined }), [415]],
    ['another charset', post(port, good, { 'Content-Type': 'application/json; charset=utf-16' }), [415]],
    ['a compressed body', post(port, good, { 'Content-Encoding': 'gzip' }), [415]],
    [
      'two lengths',
      `POST /v1/images HTTP/1.1\r\n${host}${type}Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello`,
      [400],
    ],
    [
      'length and chunks',
      `POST /v1/images HTTP/1.1\r\n${host}${type}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /x HTTP/1.1\r\n\r\n`,
      [400],
    ],
    [
      'chunks twice',
      `POST /v1/images HTTP/1.1\r\n${host}${type}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n`,
      [400],
    ],
    ['a space before the colon', get(port, '/health', `${host}X : y\r\n`), [400]],
    ['a folded header', get(port, '/health', `${host}X: y\r\n z: w\r\n`), [200, 400]],
    ['a negative length', post(port, '', { 'Content-Length': '-1' }), [400]],
    ['line feeds alone', 'GET /health HTTP/1.1\nHost: localhost\n\n', [400]],
    ['no Host', 'GET /health HTTP/1.1\r\n\r\n', [400]],
    ['an empty Host', get(port, '/health', 'Host:\r\n'), [403, 400]],
    ['two Hosts', get(port, '/health', `${host}Host: evil.example\r\n`), [400, 403]],
    ['a Host that was bound to this address', get(port, '/health', `Host: evil.example:${port}\r\n`), [403]],
    ['a Host that begins right', get(port, '/health', 'Host: 127.0.0.1.evil.example\r\n'), [403]],
    ['a Host with a user', get(port, '/health', 'Host: localhost@evil.example\r\n'), [403]],
    ['an absolute target', get(port, 'http://evil.example/health'), [400]],
    ['a target of two slashes', get(port, '//evil.example/health'), [400]],
    ['another site', post(port, good, { Origin: 'https://evil.example' }), [403]],
    ['an opaque origin', post(port, good, { Origin: 'null' }), [403]],
    ['another port of another name', post(port, good, { Origin: `http://evil.example:${port}` }), [403]],
    ['a cross-site request', post(port, good, { 'Sec-Fetch-Site': 'cross-site' }), [403]],
    [
      'a preflight',
      `OPTIONS /v1/images HTTP/1.1\r\n${host}Origin: https://evil.example\r\nAccess-Control-Request-Method: POST\r\n\r\n`,
      [403],
    ],
    ['PUT', `PUT /v1/images HTTP/1.1\r\n${host}Content-Length: 0\r\n\r\n`, [405]],
    ['DELETE', `DELETE / HTTP/1.1\r\n${host}\r\n`, [405]],
    ['TRACE', `TRACE / HTTP/1.1\r\n${host}\r\n`, [405]],
    ['CONNECT', `CONNECT evil.example:443 HTTP/1.1\r\n${host}\r\n`, [0, 400, 405]],
    ['an unknown method', `BREW / HTTP/1.1\r\n${host}\r\n`, [400]],
    ['GET of the API', get(port, '/v1/images'), [405]],
    ['an unknown part of the API', get(port, '/v1/../v1/secrets'), [404]],
    ['dots', get(port, '/../secret.txt'), [404]],
    ['more dots', get(port, '/assets/../../secret.txt'), [404]],
    ['escaped dots', get(port, '/%2e%2e/secret.txt'), [404]],
    ['escaped slashes', get(port, '/..%2fsecret.txt'), [404]],
    ['doubly escaped', get(port, '/%252e%252e%252fsecret.txt'), [404]],
    ['backslashes', get(port, '/..\\secret.txt'), [404]],
    ['a null byte', get(port, '/index.html%00.txt'), [404]],
    ['a bad escape', get(port, '/%zz'), [400, 404]],
    ['a hidden file', get(port, '/.env'), [404]],
    ['an absolute path', get(port, `/${folder}/secret.txt`), [400, 404]],
    ['HTTP/0.9', 'GET /health\r\n\r\n', [400, 403]],
    ['HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', [400]],
    ['TLS', Buffer.from('16030100a5010000a10303', 'hex'), [400]],
    ['noise', Buffer.from(Array.from({ length: 500 }, (_, i) => (i * 197) % 256)), [400]],
    ['a web socket', get(port, '/v1/images', `${host}Connection: Upgrade\r\nUpgrade: websocket\r\n`), [405, 400]],
  ];
}
