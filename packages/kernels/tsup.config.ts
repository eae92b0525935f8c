import { packageConfig } from '../../tsup.base.js';

export default packageConfig({
  entry: { index: 'src/index.ts', 'device/index': 'src/device/index.ts', 'eager/index': 'src/eager/index.ts' },
});
