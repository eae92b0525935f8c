/** All building blocks of option schemas, for the plugins and the command line that make schemas of their own. */
export * from './fields.js';
export * from './training-fields.js';
