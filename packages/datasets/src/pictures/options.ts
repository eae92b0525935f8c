/** How pictures become images of one size: the options of a dataset from a folder, by a schema that configurations share. */
import { fields, parseOptions, type GivenOptions, type ResolvedOptions } from '@dimo/core';
import { z } from 'zod';

const { finite, whole } = fields;

/** Options of `openPictureFolder`. */
export const pictureOptions = {
  size: z
    .union([whole(4, 4096), z.tuple([whole(4, 4096), whole(4, 4096)])])
    .optional()
    .describe(
      'Size that pictures are brought to, a side or [height, width]. Absent: what half of the pictures have at least, at most 64, as a multiple of 16.',
    ),
  channels: z
    .enum(['auto', 'gray', 'rgb'])
    .default('auto')
    .describe('Channels of the images; auto: gray if every picture is gray.'),
  fit: z
    .enum(['center-crop', 'squash', 'pad'])
    .default('center-crop')
    .describe(
      'How a picture of another aspect ratio is brought to that of the images: its middle, all of it with other proportions, or all of it with bars.',
    ),
  background: z
    .string()
    .regex(/^#[0-9a-fA-F]{6}$/, 'must be a colour such as #ffffff')
    .default('#ffffff')
    .describe('Colour behind what is transparent, and of the bars of `pad`.'),
  flips: z.boolean().default(false).describe('Every training picture a second time, mirrored from left to right.'),
  testFraction: finite(0, 0.9)
    .default(0.1)
    .describe(
      'Part of the pictures kept for testing, by a hash of their names: a picture stays in its part when others come.',
    ),
  seed: whole(0).default(0).describe('Of the order of the pictures and of what is kept for testing.'),
  onBadPicture: z
    .enum(['fail', 'skip'])
    .default('fail')
    .describe(
      'What happens if a picture cannot be read: the command fails and names it, or it is left out and counted.',
    ),
  maximumPixels: whole(1, 1_000_000_000)
    .default(100_000_000)
    .describe('Pictures with more pixels are bad, whatever the bytes of their file.'),
  maximumBytes: whole(1, 2_000_000_000).default(200_000_000).describe('Larger files are bad pictures.'),
  secondsPerPicture: whole(1, 3600).default(30).describe('Pictures that take longer to decode are bad.'),
};

const schema = z.strictObject(pictureOptions);

/** Options of `openPictureFolder`. */
export type PictureOptions = GivenOptions<typeof pictureOptions>;

/** `PictureOptions` with defaults filled in. */
export type ResolvedPictureOptions = ResolvedOptions<typeof pictureOptions>;

/** Fills in defaults. @throws OptionError for a value out of its range. */
export function resolvePictures(options: PictureOptions = {}, where = 'pictures'): ResolvedPictureOptions {
  return parseOptions(schema, options, where);
}
