/** The door for browsers. Imports nothing of Node. */
export { pipeline } from './hosts/browser.js';
export * from './shared.js';
