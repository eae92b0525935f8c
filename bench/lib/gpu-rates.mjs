/** What an adapter can do at best, measured on itself: the yardsticks of the WebGPU benchmarks. */

/** Bytes per second of `clock` read and written by a copy from buffer to buffer, best of five. */
export async function copyBandwidth({ device }, clock, megabytes = 64) {
  const size = megabytes * 2 ** 20;
  const usage = GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
  const [from, to] = [0, 1].map(() => device.createBuffer({ size, usage }));
  let best = Infinity;
  for (let round = 0; round < 5; round++) {
    const encoder = device.createCommandEncoder();
    const repeats = 4;
    for (let i = 0; i < repeats; i++) encoder.copyBufferToBuffer(from, 0, to, 0, size);
    const start = clock();
    device.queue.submit([encoder.finish()]);
    await device.queue.onSubmittedWorkDone();
    best = Math.min(best, (clock() - start) / repeats);
  }
  for (const buffer of [from, to]) buffer.destroy();
  return (2 * size) / best;
}

const iterations = 256;
const chains = 8;
const lanes = 256;

/** FLOP per second of `clock` of multiply-adds in registers: the peak in float32 that a program can reach. */
export async function multiplyAddRate({ device }, clock, leastSeconds = 0.05) {
  const each = (text) => Array.from({ length: chains }, (_, i) => text(i)).join(' ');
  const code = `
@group(0) @binding(0) var<storage, read_write> sums: array<f32>;
@compute @workgroup_size(${lanes})
fn start(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let factor = vec4<f32>(0.999, 0.998, 0.997, 0.996);
  let term = vec4<f32>(f32(lane)) * 1e-6;
  ${each((i) => `var x${i} = vec4<f32>(f32(lane + ${i}u));`)}
  for (var i = 0u; i < ${iterations}u; i++) { ${each((i) => `x${i} = fma(x${i}, factor, term);`)} }
  sums[group.x * ${lanes}u + lane] = dot(${Array.from({ length: chains }, (_, i) => `x${i}`).join(' + ')}, vec4<f32>(1.0));
}`;
  const module = device.createShaderModule({ code });
  const pipeline = device.createComputePipeline({ layout: 'auto', compute: { module, entryPoint: 'start' } });
  let rate = 0;
  for (let numGroups = 8; numGroups <= 65_535; numGroups *= 4) {
    const buffer = device.createBuffer({ size: 4 * numGroups * lanes, usage: GPUBufferUsage.STORAGE });
    const bindGroup = device.createBindGroup({
      layout: pipeline.getBindGroupLayout(0),
      entries: [{ binding: 0, resource: { buffer } }],
    });
    let best = Infinity;
    for (let round = 0; round < 4; round++) {
      const encoder = device.createCommandEncoder();
      const pass = encoder.beginComputePass();
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, bindGroup);
      pass.dispatchWorkgroups(numGroups);
      pass.end();
      const start = clock();
      device.queue.submit([encoder.finish()]);
      await device.queue.onSubmittedWorkDone();
      if (round > 0) best = Math.min(best, clock() - start); // the first one compiles
    }
    buffer.destroy();
    rate = Math.max(rate, (numGroups * lanes * iterations * chains * 4 * 2) / best);
    if (best > leastSeconds) break;
  }
  return rate;
}
