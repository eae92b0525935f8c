export * from './engines/index.js';
export * from './weights/index.js';
