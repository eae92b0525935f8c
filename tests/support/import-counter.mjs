/** Prints every import of a module that is not part of this repository (or of Node) to stderr. */
import { register } from 'node:module';

register('./import-counter-hooks.mjs', import.meta.url);
