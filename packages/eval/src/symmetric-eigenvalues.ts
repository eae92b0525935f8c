/** Eigenvalues of symmetric matrices of some thousand rows, without their vectors: float64, row-major. */

/**
 * Eigenvalues, in no order: Householder reflections to a tridiagonal matrix, then QL with implicit shifts
 * (Golub and Van Loan, Matrix Computations, 8.3).
 *
 * @param matrix - [n, n], symmetric; its lower triangle is read. Not changed.
 */
export function symmetricEigenvalues(matrix: Float64Array, n: number): Float64Array {
  const { diagonal, offDiagonal } = tridiagonal(matrix.slice(), n);
  diagonalize(diagonal, offDiagonal);
  return diagonal;
}

/** Diagonal and off-diagonal (n - 1 entries, then 0) of a similar tridiagonal matrix. Overwrites `a`. */
function tridiagonal(a: Float64Array, n: number): { diagonal: Float64Array; offDiagonal: Float64Array } {
  const diagonal = new Float64Array(n);
  const offDiagonal = new Float64Array(n);
  const product = new Float64Array(n);
  // The last row is made tridiagonal first; what is left is the matrix of the rows above it.
  for (let last = n - 1; last > 0; last--) {
    diagonal[last] = a[last * n + last]!;
    const v = a.subarray(last * n, last * n + last);
    let norm = 0;
    for (let i = 0; i < last - 1; i++) norm = Math.max(norm, Math.abs(v[i]!));
    const pivot = v[last - 1]!;
    if (norm === 0) {
      offDiagonal[last - 1] = pivot;
      continue;
    }
    norm = Math.max(norm, Math.abs(pivot));
    let sum = 0;
    for (let i = 0; i < last; i++) sum += (v[i]! / norm) ** 2;
    const length = (pivot < 0 ? 1 : -1) * norm * Math.sqrt(sum);
    offDiagonal[last - 1] = length;
    v[last - 1] = pivot - length;
    // H = I - v v^T / h with h = |v|^2 / 2.
    const h = length * length - pivot * length;
    product.fill(0, 0, last);
    for (let i = 0; i < last; i++) {
      const row = i * n;
      const vi = v[i]!;
      let dot = a[row + i]! * vi;
      for (let j = 0; j < i; j++) {
        const value = a[row + j]!;
        dot += value * v[j]!;
        product[j]! += value * vi;
      }
      product[i]! += dot;
    }
    let half = 0;
    for (let i = 0; i < last; i++) {
      product[i]! /= h;
      half += product[i]! * v[i]!;
    }
    half /= 2 * h;
    for (let i = 0; i < last; i++) product[i]! -= half * v[i]!;
    for (let i = 0; i < last; i++) {
      const row = i * n;
      const [vi, pi] = [v[i]!, product[i]!];
      for (let j = 0; j <= i; j++) a[row + j]! -= vi * product[j]! + pi * v[j]!;
    }
  }
  if (n > 0) diagonal[0] = a[0]!;
  return { diagonal, offDiagonal };
}

/** Makes the tridiagonal matrix diagonal, in place. */
function diagonalize(d: Float64Array, e: Float64Array): void {
  const n = d.length;
  for (let low = 0; low < n; low++)
    for (;;) {
      let high = low;
      while (high < n - 1 && Math.abs(e[high]!) > Number.EPSILON * (Math.abs(d[high]!) + Math.abs(d[high + 1]!)))
        high++;
      if (high === low) break;
      let g = (d[low + 1]! - d[low]!) / (2 * e[low]!);
      g = d[high]! - d[low]! + e[low]! / (g + Math.sign(g || 1) * Math.hypot(g, 1));
      let [sine, cosine, shift] = [1, 1, 0];
      let i = high - 1;
      for (; i >= low; i--) {
        const f = sine * e[i]!;
        const b = cosine * e[i]!;
        const r = Math.hypot(f, g);
        e[i + 1] = r;
        if (r === 0) {
          // Underflow: the matrix falls apart here.
          d[i + 1]! -= shift;
          break;
        }
        sine = f / r;
        cosine = g / r;
        g = d[i + 1]! - shift;
        const t = (d[i]! - g) * sine + 2 * cosine * b;
        shift = sine * t;
        d[i + 1] = g + shift;
        g = cosine * t - b;
      }
      if (i < low) {
        d[low]! -= shift;
        e[low] = g;
      }
      e[high] = 0;
    }
}
