/** The algorithm of examples/self-distillation as a plugin inside of the tests. */
export { default } from '../../examples/self-distillation/src/index.ts';
