import { describe, expect, it } from 'vitest';
import { isSoftwareAdapter } from './adapter.js';

describe('isSoftwareAdapter', () => {
  const adapter = (info: object) =>
    isSoftwareAdapter({ vendor: '', architecture: '', device: '', description: '', ...info });

  it('knows llvmpipe, SwiftShader and WARP', () => {
    expect(adapter({ vendor: 'mesa', description: 'llvmpipe: Mesa 25.0.7 (LLVM 15.0.6)' })).toBe(true);
    expect(adapter({ vendor: 'google', architecture: 'swiftshader' })).toBe(true);
    expect(adapter({ vendor: 'microsoft', description: 'Microsoft Basic Render Driver' })).toBe(true);
    expect(adapter({ vendor: 'unknown', isFallbackAdapter: true })).toBe(true);
  });

  it('takes GPUs for GPUs', () => {
    expect(adapter({ vendor: 'nvidia', architecture: 'ampere', device: 'NVIDIA A100', isFallbackAdapter: false })).toBe(
      false,
    );
    expect(adapter({ vendor: 'apple', architecture: 'metal-3', description: 'Apple M2' })).toBe(false);
  });
});
