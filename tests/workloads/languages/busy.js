// Burns some seconds of CPU in JIT code, in the interpreter, and in what V8 has in C++.
const fib = (n) => (n < 2 ? n : fib(n - 1) + fib(n - 2));
let sum = 0;
while (process.cpuUsage().user < 1e6 * Number(process.argv[2])) {
  sum += fib(18);
  const texts = {};
  for (let i = 0; i < 1000; i++) texts["key" + (i % 77)] = JSON.stringify({ a: i, b: [1, 2, 3] });
  sum += Object.keys(texts).length + "abcabc".replace(/b/g, "xx").length;
}
console.log(sum);
