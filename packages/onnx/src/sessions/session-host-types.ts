/** Declarations of the entry `session-host`, whose code is JavaScript. */
export * from './session-host.mjs';
