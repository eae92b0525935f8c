import { packageConfig } from '../../tsup.base.js';

export default packageConfig({
  entry: {
    index: 'src/index.ts',
    browser: 'src/browser.ts',
    'worker/index': 'src/worker/index.ts',
    'worker/client': 'src/worker/client.ts',
  },
});
