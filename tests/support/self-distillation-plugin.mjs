/** The algorithm of examples/self-distillation as a plugin inside of the tests. */
export { default } from 'dimo-example-self-distillation';
