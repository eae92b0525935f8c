import packageJson from '../package.json' with { type: 'json' };

/** Version of this package; part of the identity of a checkpoint. */
export const version: string = packageJson.version;
