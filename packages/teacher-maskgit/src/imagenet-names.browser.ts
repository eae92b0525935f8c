/** In the place of imagenet-names.ts where a package is built for browsers. */
export const imagenetNames: readonly string[] | undefined = undefined;
