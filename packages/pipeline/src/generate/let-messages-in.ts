/** A pause in which messages of the page arrive: engines that compute on this thread end no task of their own accord. */

/** Settles in a task of its own, after those that wait already; unlike a timer without a delay. */
export function letMessagesIn(): Promise<void> {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });
}
