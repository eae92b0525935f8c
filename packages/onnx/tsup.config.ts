import { packageConfig } from '../../tsup.base.js';

// `session-host` is JavaScript with declarations beside it: Node's worker loads it from the sources as it is.
export default packageConfig({
  entry: { index: 'src/index.ts', sessions: 'src/sessions/index.ts', 'session-host': 'src/sessions/session-host.mjs' },
  dts: process.env['DIMO_NO_DTS']
    ? false
    : {
        entry: {
          index: 'src/index.ts',
          sessions: 'src/sessions/index.ts',
          'session-host': 'src/sessions/session-host-types.ts',
        },
      },
});
