/** An attempt failed that is worth repeating. */
export class TransferFailure extends Error {
  constructor(
    message: string,
    /** `interrupted` passes in time; `wrong` (not what was promised) and `unreachable` get one more attempt. */
    readonly kind: 'interrupted' | 'wrong' | 'unreachable' = 'interrupted',
    /** Pause that the server asked for. */
    readonly pauseMilliseconds?: number,
    cause?: unknown,
  ) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'TransferFailure';
  }
}
