/** Order of images for a grid with a column for each class. */
import { checkHostTree, checkShape, float32, requireInteger, ShapeError, sizeOf, type HostTensor } from '@dimo/core';

/**
 * Images arranged with one class per column: row r has the r-th image of every class; where a class has fewer images,
 * its place is black. Show them with `columns` = numClasses.
 *
 * @param images - float32 [B, H, W, C].
 * @param labels - class of each image, int32 [B].
 * @param layout - classes and rows.
 * @returns float32 [rows * numClasses, H, W, C].
 */
export function arrangeByClass(
  images: HostTensor<'float32'>,
  labels: ArrayLike<number>,
  layout: { readonly numClasses: number; readonly rows: number },
): HostTensor<'float32'> {
  const { numClasses, rows } = layout;
  if (labels.length !== images.shape[0])
    throw new ShapeError(`arrangeByClass: ${images.shape[0]} images but ${labels.length} labels`);
  requireInteger(numClasses, 'arrangeByClass: numClasses');
  requireInteger(rows, 'arrangeByClass: rows');
  checkHostTree('arrangeByClass', { images });
  checkShape('arrangeByClass', [rows * numClasses, ...images.shape.slice(1)]);
  const size = sizeOf(images.shape.slice(1));
  const data = new Float32Array(rows * numClasses * size);
  const used = new Array<number>(numClasses).fill(0);
  for (let i = 0; i < labels.length; i++) {
    const label = labels[i]!;
    if (!(label >= 0 && label < numClasses)) continue;
    const row = used[label]!++;
    if (row < rows) data.set(images.data.subarray(i * size, (i + 1) * size), (row * numClasses + label) * size);
  }
  return float32([rows * numClasses, ...images.shape.slice(1)], data);
}
