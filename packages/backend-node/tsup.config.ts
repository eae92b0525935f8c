import { packageConfig } from '../../tsup.base.js';

// The worker thread of the onnx engine is a file of its own: `new Worker(new URL('./onnx-worker.js', import.meta.url))`.
export default packageConfig({
  entry: { index: 'src/index.ts', 'onnx-worker': 'src/onnx-worker.mjs' },
  external: ['koffi', 'onnxruntime-node'],
  dts: process.env['DIMO_NO_DTS'] ? false : { entry: { index: 'src/index.ts' } },
});
