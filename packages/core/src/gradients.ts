/** Registers tfjs-core's gradient functions, which its Node bundle leaves out. */
// First: the gradient functions come with parts of their own of tfjs-core, which must find its engine already made.
import '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-core/dist/register_all_gradients.js';
