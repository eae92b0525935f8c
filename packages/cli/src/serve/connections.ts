/**
 * Connections that cost something and bring nothing. There is room for a number of them; when it is full, the one that
 * has been silent for longest makes room for the next, so that dead ones never keep anybody out. One that does not take
 * what was sent to it is closed after a while.
 */
import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import type { ServeLimits } from './limits.js';

/** Connections of a server. */
export interface Connections {
  /** Jobs of a connection that wait or run. */
  jobs(socket: Socket): number;
  /**
   * Keeps a connection open although nothing moves on it: its job waits or runs.
   *
   * @param onClose - called once if the connection ends meanwhile, also if its client sent several requests at once, of
   *   whose answers only the first would hear of it.
   * @returns to be called when the job is over.
   */
  hold(socket: Socket, onClose: () => void): () => void;
  /** Ends the watch. */
  dispose(): void;
}

interface Watched {
  /** Bytes that were read, and that the other side's system has taken. */
  moved: number;
  /** When bytes last moved. */
  since: number;
  /** Bytes that it has taken and when, at the start of the present period of its answer. */
  taken: number;
  takenSince: number;
  readonly held: Set<() => void>;
}

/** Watches the connections of a server. */
export function watchConnections(
  server: Server,
  {
    connections: maximum,
    readerMilliseconds,
    readerBytes,
  }: Pick<ServeLimits, 'connections' | 'readerMilliseconds' | 'readerBytes'>,
): Connections {
  const all = new Map<Socket, Watched>();
  /** What has left this process: Node counts as written what it still keeps. */
  const takenBy = (socket: Socket): number => socket.bytesWritten - socket.writableLength;

  function look(now: number): void {
    for (const [socket, watched] of all) {
      const taken = takenBy(socket);
      const moved = taken + socket.bytesRead;
      if (moved !== watched.moved) Object.assign(watched, { moved, since: now });
      if (socket.writableLength === 0) Object.assign(watched, { taken, takenSince: now });
      else if (now - watched.takenSince >= readerMilliseconds) {
        if (taken - watched.taken < readerBytes) socket.destroy();
        else Object.assign(watched, { taken, takenSince: now });
      }
    }
  }

  function makeRoom(): void {
    look(performance.now());
    let quietest: Socket | undefined;
    let since = Infinity;
    for (const [socket, watched] of all)
      if (watched.held.size === 0 && watched.since < since) [quietest, since] = [socket, watched.since];
    quietest?.destroy();
  }

  server.on('connection', (socket: Socket) => {
    if (all.size >= maximum) makeRoom();
    // All of them have jobs, which the queue bounds.
    if (all.size >= maximum && [...all.values()].every(({ held }) => held.size > 0)) return void socket.destroy();
    const now = performance.now();
    const held = new Set<() => void>();
    all.set(socket, { moved: 0, since: now, taken: 0, takenSince: now, held });
    socket.on('close', () => {
      all.delete(socket);
      for (const onClose of held) onClose();
    });
  });
  const timer = setInterval(() => look(performance.now()), Math.min(1000, readerMilliseconds / 4));
  timer.unref();
  return {
    jobs: (socket) => all.get(socket)?.held.size ?? 0,
    hold(socket, onClose) {
      const watched = all.get(socket);
      if (!watched) onClose();
      const held = (): void => onClose();
      watched?.held.add(held);
      return () => {
        watched?.held.delete(held);
        if (watched) watched.since = performance.now();
      };
    },
    dispose: () => clearInterval(timer),
  };
}
