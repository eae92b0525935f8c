/** Some images of every class, side by side. */
import { readImages, type Dataset, type HostTensor } from '@dimo/core';

/** Images of a class, and classes, that are shown at most. */
const perClass = 10;
const shownClasses = 32;

/** Images of a sheet, row by row. */
export interface ContactSheet {
  /** float32 [rows * columns, H, W, C] in [0, 1]; white where a class has no more. */
  readonly images: HostTensor<'float32'>;
  readonly columns: number;
}

/** The first training images of each of the first classes, a row for each; without classes, a square of images. */
export async function contactSheet({ imageShape, classNames, train }: Dataset): Promise<ContactSheet> {
  const numRows = Math.min(shownClasses, classNames.length);
  const isOne = classNames.length === 1;
  const numPlaces = isOne ? Math.min(perClass ** 2, train.count) : numRows * perClass;
  const taken = new Array<number>(numRows).fill(0);
  const rows: number[] = [];
  const places: number[] = [];
  for (let i = 0; i < train.count && rows.length < numPlaces; i++) {
    const label = train.labels.data[i]!;
    if (label >= numRows || (!isOne && taken[label]! >= perClass)) continue;
    rows.push(i);
    places.push(label * perClass + taken[label]!++);
  }
  const found = await readImages(imageShape, train, rows);
  const size = imageShape.reduce((product, n) => product * n, 1);
  const data = new Float32Array(numPlaces * size).fill(1);
  places.forEach((place, i) => data.set(found.data.subarray(i * size, (i + 1) * size), place * size));
  return { images: { dtype: 'float32', shape: [numPlaces, ...imageShape], data }, columns: perClass };
}
