/** How well images fit their captions, by an image and a text network that share a space (Hessel et al. 2021, arXiv 2104.08718). */
import { ShapeError } from '@dimo/core';
import { checkMatrix, checkSameColumns, rowOf, type Matrix } from '../matrix.js';

/**
 * Mean of 100 max(0, cosine) of each image and its caption: [0, 100]. (2.5 max(0, cosine), which the paper prints, is a
 * fortieth of it.)
 *
 * @param images - [count, D]. @param texts - [count, D].
 * @throws ShapeError for different numbers or widths. @throws NonFiniteError
 */
export function clipScore(images: Matrix, texts: Matrix): number {
  checkMatrix('features of images', images, 1);
  checkMatrix('features of texts', texts, 1);
  checkSameColumns('clipScore', images, texts);
  if (images.rows !== texts.rows)
    throw new ShapeError(`clipScore: ${images.rows} images but ${texts.rows} captions; each image needs its own`);
  let total = 0;
  for (let i = 0; i < images.rows; i++) {
    const [a, b] = [rowOf(images, i), rowOf(texts, i)];
    let [product, left, right] = [0, 0, 0];
    for (let d = 0; d < images.columns; d++) {
      product += a[d]! * b[d]!;
      left += a[d]! * a[d]!;
      right += b[d]! * b[d]!;
    }
    total += Math.max(0, product / Math.max(Number.MIN_VALUE, Math.sqrt(left * right)));
  }
  return (100 * total) / images.rows;
}
