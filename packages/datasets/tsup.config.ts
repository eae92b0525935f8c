import { packageConfig } from '../../tsup.base.js';

// The options apart: the command line reads them before it knows whether it needs the rest.
export default packageConfig({ entry: { index: 'src/index.ts', options: 'src/pictures/options.ts' } });
