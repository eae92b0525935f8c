/** Registers tfjs-core's gradient functions, which its Node bundle leaves out. */
import '@tensorflow/tfjs-core/dist/register_all_gradients.js';
