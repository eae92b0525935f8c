/** Names and synonyms of the classes of ImageNet, a line each. */
import names from './imagenet-classes.json' with { type: 'json' };

export const imagenetNames: readonly string[] | undefined = names;
