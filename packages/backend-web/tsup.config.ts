import { packageConfig } from '../../tsup.base.js';

export default packageConfig({
  entry: {
    index: 'src/index.ts',
    'eager/index': 'src/eager/index.ts',
    'kernels/index': 'src/kernels/index.ts',
  },
});
