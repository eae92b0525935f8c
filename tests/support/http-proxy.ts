/** An HTTP proxy on loopback: tunnels (CONNECT) and plain requests (absolute form), for names that only it knows. */
import { createServer, request as ask, type IncomingMessage } from 'node:http';
import { connect, type AddressInfo, type Socket } from 'node:net';

/** A running proxy. */
export interface HttpProxy {
  readonly port: number;
  /** `CONNECT hub.test:1234`, `GET http://hub.test:1234/...`. */
  readonly asked: string[];
  close(): Promise<void>;
}

/** How a proxy behaves. */
export interface HttpProxyOptions {
  /** `name:password` that it wants. @default everybody may use it */
  readonly credentials?: string;
  /** Refuses all with this status. */
  readonly refuse?: number;
}

/** Starts a proxy that finds every host on this machine. */
export async function startHttpProxy({ credentials, refuse }: HttpProxyOptions = {}): Promise<HttpProxy> {
  const asked: string[] = [];
  const sockets = new Set<Socket>();
  const refusal = ({ headers }: IncomingMessage): number | undefined => {
    const wanted = credentials === undefined ? undefined : `Basic ${Buffer.from(credentials).toString('base64')}`;
    if (wanted !== undefined && headers['proxy-authorization'] !== wanted) return 407;
    return refuse;
  };
  const server = createServer((incoming, outgoing) => {
    asked.push(`${incoming.method} ${incoming.url}`);
    const refused = refusal(incoming);
    if (refused !== undefined) return void outgoing.writeHead(refused).end();
    const { pathname, search, port } = new URL(incoming.url!);
    const { 'proxy-authorization': _secret, ...headers } = incoming.headers;
    const onward = ask(
      { host: '127.0.0.1', port, path: pathname + search, method: incoming.method, headers },
      (answer) => {
        outgoing.writeHead(answer.statusCode!, answer.headers);
        answer.pipe(outgoing);
      },
    );
    onward.on('error', () => outgoing.destroy());
    incoming.pipe(onward);
  });
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  server.on('connect', (incoming, socket: Socket) => {
    asked.push(`CONNECT ${incoming.url}`);
    const refused = refusal(incoming);
    if (refused !== undefined) return void socket.end(`HTTP/1.1 ${refused} No\r\n\r\n`);
    const onward = connect(Number(incoming.url!.split(':').at(-1)), '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 Connected\r\n\r\n');
      onward.pipe(socket).pipe(onward);
    });
    sockets.add(onward);
    for (const end of [socket, onward]) end.on('error', () => (socket.destroy(), onward.destroy()));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    asked,
    async close() {
      sockets.forEach((socket) => socket.destroy());
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
