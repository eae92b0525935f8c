import { packageConfig } from '../../tsup.base.js';

// tfjs-core's gradient registrations are bundled (and only they): Node cannot import that file by itself.
export default packageConfig({
  entry: {
    index: 'src/index.ts',
    gradients: 'src/gradients.ts',
    conformance: 'src/conformance/index.ts',
    'weight-files': 'src/weight-files/index.ts',
  },
  noExternal: [/^@tensorflow\/tfjs-core\/dist\//],
  treeshake: false,
});
