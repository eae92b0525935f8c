/** The browser's WebGPU, or why there is none. */
import { BackendUnavailableError } from '@dimo/core';
import { openDevice, type OpenedDevice, type Webgpu } from '@dimo/kernels/device';

const noAdapterHint =
  'update the browser and the GPU driver, see chrome://gpu or about:support, or use the engine wasm';

/**
 * A device of the visitor's GPU.
 *
 * @throws BackendUnavailableError if the browser has no WebGPU, or there is no adapter that will do.
 */
export async function openBrowserDevice(
  engine: string,
  features: readonly string[],
  largestTensorBytes?: number,
): Promise<OpenedDevice> {
  return openDevice(browserGpu(engine), { engine, hint: noAdapterHint, features, largestTensorBytes });
}

/** `navigator.gpu`, in a page or in a worker. */
export function browserGpu(engine: string): Webgpu {
  const gpu = (globalThis as { readonly navigator?: { readonly gpu?: unknown } }).navigator?.gpu;
  if (gpu) return gpu as Webgpu;
  const isInsecure = (globalThis as { readonly isSecureContext?: boolean }).isSecureContext === false;
  throw new BackendUnavailableError(
    `${engine} engine: ${isInsecure ? 'pages that are not served over https have no WebGPU' : 'this browser has no WebGPU'}`,
    {
      hint: isInsecure
        ? 'serve the page over https, or from localhost'
        : 'use a current Chrome, Edge, Safari or Firefox, or the engine wasm',
    },
  );
}
