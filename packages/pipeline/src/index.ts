/** The door for Node; bundlers for browsers take `browser.ts` instead. */
export { pipeline } from './hosts/node.js';
export * from './shared.js';
