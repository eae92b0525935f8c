/** An image that `dimo sample` begins with: inpainting with a mask, variations without. */
import { readFileChecked } from '@dimo/backend-node';
import { OptionError, type TeacherDefinition } from '@dimo/core';
import { checkGivenImage, readGivenImage, requireEncoder, type GivenImage, type GivenImageNames } from '@dimo/pipeline';

/** What was typed. */
export interface GivenImageArguments {
  /** PNG file. */
  readonly initImage: string | undefined;
  /** PNG file, white where the image is drawn anew. */
  readonly mask: string | undefined;
  readonly strength: string | undefined;
  /** False if it was typed that pixels outside of the mask are not put back. */
  readonly composite: boolean;
}

const names: GivenImageNames = {
  image: '--init-image',
  mask: '--mask',
  strength: '--strength',
  composite: '--no-composite',
};

/** Length of a file. */
const maximumBytes = 2 ** 28;

/**
 * Reads the image and the mask; undefined where none was typed.
 *
 * @throws OptionError for flags that do not go together, files that are no PNG, a model without an encoder
 */
export async function readInitImage(
  args: GivenImageArguments,
  name: string,
  { decoder }: Pick<TeacherDefinition, 'decoder'>,
): Promise<GivenImage | undefined> {
  const strength = args.strength === undefined ? undefined : Number(args.strength.trim() || NaN);
  if (Number.isNaN(strength))
    throw new OptionError(`${names.strength} must be a number in (0, 1], got ${JSON.stringify(args.strength)}`);
  const request = checkGivenImage(
    { image: args.initImage, mask: args.mask, strength, composite: args.composite ? undefined : false },
    names,
  );
  if (!request) return undefined;
  if (!decoder) throw new OptionError(`${names.image}: ${name} makes sequences, not images`);
  requireEncoder(decoder, name, names);
  return readGivenImage(request, decoder, { names, readFile: (path) => readFileChecked(path, maximumBytes) });
}
