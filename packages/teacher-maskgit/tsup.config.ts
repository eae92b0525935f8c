import { packageConfig } from '../../tsup.base.js';

export default packageConfig({
  entry: ['src/index.ts', 'src/imagenet-names.ts', 'src/imagenet-names.browser.ts'],
  external: ['#imagenet-names'],
});
