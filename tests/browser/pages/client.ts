/** Lets tests call the functions of engines.ts by name, on the page's thread or in a worker. */

/** Where a function runs. */
export type Thread = 'page' | 'worker';

declare global {
  var callFunction: (thread: Thread, name: string, args: readonly unknown[]) => Promise<unknown>;
}

globalThis.callFunction = async (thread, name, args) => {
  if (thread === 'page') {
    const functions = (await import('./engines.js')) as unknown as Record<string, (...args: unknown[]) => unknown>;
    return functions[name]!(...args);
  }
  const worker = new Worker(new URL('worker.js', location.href), { type: 'module' });
  try {
    return await new Promise((resolve, reject) => {
      worker.onerror = (event) => reject(new Error(event.message));
      worker.onmessage = ({ data }: MessageEvent<{ value?: unknown; error?: string }>) =>
        data.error === undefined ? resolve(data.value) : reject(new Error(data.error));
      worker.postMessage({ name, args });
    });
  } finally {
    worker.terminate();
  }
};
